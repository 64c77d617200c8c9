"""stub"""
def render_report(results): return "x"
