"""`newvisions doctor`: whether what the services need is there and works, and how to mend what does not."""
