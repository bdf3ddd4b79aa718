"""What asking three models at once costs the gateway, and how close the first answer comes to the fastest of them."""
