"""AWS's other services: moto's, over HTTP, and what makes their contents outlive the server."""
