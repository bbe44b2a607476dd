"""A photo or a clip on its way: below the editor, above the model."""
