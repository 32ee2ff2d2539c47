"""What would run where, and what it would take: predictions kept on disk, machines of data sheets, and the table."""
