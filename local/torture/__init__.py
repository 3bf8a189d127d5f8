"""`make torture`: fault injection on the deployed stack, with a count of what each fault cost."""
