"""One function a picture; each returns the Matplotlib axes or figure it drew on."""
