"""Pieces that several benchmark scripts share."""
