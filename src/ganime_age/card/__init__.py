"""The model card and contact sheets: pictures, tables and charts rendered from results files."""
