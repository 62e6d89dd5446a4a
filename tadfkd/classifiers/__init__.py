"""How is any classifier found, built, known and called?"""
