"""What can be done to any network: freeze, capture, compile, reinitialise?"""
