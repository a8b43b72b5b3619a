"""Session descriptions: offers read, answers made, candidates trickled."""
