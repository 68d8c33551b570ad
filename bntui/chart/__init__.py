"""Charts for the terminal: pure functions that draw into cells of braille dots, and widgets that show them."""
