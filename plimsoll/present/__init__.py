"""Pictures as SVG, in the colours of the page that shows them: the base of every report's drawings."""
