"""The plugins, one file each. See `apilayer.admission.choice` for their order."""
