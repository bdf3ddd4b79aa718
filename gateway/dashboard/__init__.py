"""The dashboard: one static page, its modules and styles, and a vendored chart library. No build step, no CDN."""
