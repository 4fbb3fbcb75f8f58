"""Studies: runs that differ in what is asked, trained and evaluated alike, put side by side."""
