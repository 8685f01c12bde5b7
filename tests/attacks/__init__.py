"""Attacks by somebody who holds a publisher's key to the bucket, through the real ways in to a store."""
