"""Coding: step e once more. A model's probabilities do not draw a text here but write one, in as few bits as its loss.

A model that expects what comes needs few bits to write it down; so a file is the loss that one can hold in one's hand.
"""
