"""`newvisions backup` and `restore`: databases and audio as a folder of files, and back."""
