"""Documents of sections, tables and pictures, drawn for terminal, Markdown and HTML."""
