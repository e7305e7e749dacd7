"""Features of images: extracted once by a frozen backbone, kept in a file that tells the truth."""
