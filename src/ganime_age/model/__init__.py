"""The networks under one roof, their files, and the Hub."""
