"""How is a file read safely, all of its weights loaded, a run resumed?"""
