"""What is read: text → references and what was not understood. Nothing is skipped: what cannot be read is returned as a blind spot."""
