"""Signed documents: releases, receipts, enrolment proofs and lists of release keys."""
