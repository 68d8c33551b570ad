"""Charts for the terminal: pure drawing into cells of braille dots, and the widgets that show it."""
