// A page that is opened from the file system may not start a worker, which the search runs in. There, this stands in
// for one: a hidden frame that loads the same script, and passes messages to it and from it.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    #frame = document.createElement("iframe");
    #ready;

    constructor(url) {
      super();
      this.#frame.hidden = true;
      document.body.append(this.#frame);
      const inside = this.#frame.contentWindow;
      inside.postMessage = (data) => {
        const message = new MessageEvent("message", { data });
        this.onmessage?.(message);
        this.dispatchEvent(message);
      };
      this.#ready = new Promise((done, failed) => {
        const script = inside.document.createElement("script");
        script.src = url;
        script.onload = done;
        script.onerror = failed;
        inside.document.body.append(script);
      });
      this.#ready.catch((error) => this.onerror?.(error));
    }

    postMessage(data) {
      const inside = this.#frame.contentWindow;
      this.#ready.then(() => inside.onmessage?.(new MessageEvent("message", { data })), () => {});
    }

    terminate() {
      this.#frame.remove();
    }
  };
}
