"""What prototypes are made of without gradient descent: measured by least squares, and how far they are exaggerated."""
