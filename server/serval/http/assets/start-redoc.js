// Redoc shows a picture of another server, which this page may not load: it is left out before the browser complains.
const image = HTMLImageElement.prototype;
const source = Object.getOwnPropertyDescriptor(image, "src");
const isElsewhere = (address) => /^https?:/.test(address);
Object.defineProperty(image, "src", {
  ...source,
  set(address) {
    if (!isElsewhere(address)) source.set.call(this, address);
  },
});
image.setAttribute = function (name, value) {
  if (name !== "src" || !isElsewhere(value)) Element.prototype.setAttribute.call(this, name, value);
};
Redoc.init("openapi.json", { hideDownloadButton: false, disableSearch: true }, document.getElementById("page"));
