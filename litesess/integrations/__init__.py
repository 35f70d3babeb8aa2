"""At home in frameworks: each module is loaded only by who uses that framework."""
