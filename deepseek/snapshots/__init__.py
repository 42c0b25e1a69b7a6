"""Snapshots as bytes: splitting, encryption, and a repository in which every object lies once."""
