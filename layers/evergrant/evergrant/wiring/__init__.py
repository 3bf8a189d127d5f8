"""The functions' ports, made from the environment that the template sets. Stands above every other room."""
