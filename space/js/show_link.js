(query) => {
  // The link to a result, which is the page's address from now on; a face has none.
  if (!query) return "";
  history.replaceState(null, "", location.pathname + query);
  return location.origin + location.pathname + query;
}
