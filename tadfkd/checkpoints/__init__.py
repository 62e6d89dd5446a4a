"""How is a file read safely, all of its weights loaded, and a run resumed?"""
