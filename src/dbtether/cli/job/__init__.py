"""`dbtether job`: what the jobs that the controllers start run. Not meant for people."""
