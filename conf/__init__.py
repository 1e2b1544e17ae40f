"""What can be set, and what the tables are. Imports nothing else of castmine."""
