"""Makes the functions' ports from the environment that the template sets. Stands above every other room."""
