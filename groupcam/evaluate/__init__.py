"""Sweeps over many backbones or pictures: processes, resumption, tables."""
