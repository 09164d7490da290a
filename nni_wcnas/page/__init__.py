"""Reports, drawings and pages: everything that is shown as HTML, SVG or a picture."""
