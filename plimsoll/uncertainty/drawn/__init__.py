"""The pictures of an analysis; each says what it shows, and one without enough data says so and is not drawn."""
