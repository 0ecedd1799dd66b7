"""The API of dbtether: kinds, names, reasons and templates. No I/O."""
