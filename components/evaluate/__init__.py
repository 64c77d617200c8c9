"""evaluate: how good the export is, beside what needs no model."""
