"""What runs inside a program that is audited: its pools are replaced by pools that watch."""
