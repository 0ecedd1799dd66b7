"""The object-store port: S3, Google Cloud Storage, Azure Blob Storage and a folder, behind one small interface."""
