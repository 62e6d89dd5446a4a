"""What is done to any network: freeze, capture, compile, reinitialise?"""
