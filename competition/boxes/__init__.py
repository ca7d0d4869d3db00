"""Boxes, whatever finds them: as tables, read from a competition's files, fused, scored and written."""
