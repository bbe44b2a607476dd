"""What says that a picture was edited: metadata, watermark, Content Credentials; and who looks for it."""
