"""What finds mistakes before money is spent: offline from the job file, online with AWS."""
