"""Search for translations over one step contract (`models.contract.Model`); no model is known here."""
