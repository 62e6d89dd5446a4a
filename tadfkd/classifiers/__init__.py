"""How is any classifier found, built and called, and what is known of it?"""
