for (const button of document.querySelectorAll("button[data-copy]"))
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "Copied";
  });

const followed = [...document.querySelectorAll("pre[data-log]")].map((block) => {
  block.scrollTop = block.scrollHeight;
  return { block, offset: Number(block.dataset.offset), decoder: new TextDecoder() };
});

async function followLog(log) {
  const answer = await fetch(log.block.dataset.log, { headers: { Range: `bytes=${log.offset}-` }, cache: "no-store" });
  if (answer.status !== 206) return;
  const bytes = await answer.arrayBuffer();
  log.offset += bytes.byteLength;
  const isAtEnd = log.block.scrollTop + log.block.clientHeight >= log.block.scrollHeight - 20;
  log.block.append(log.decoder.decode(bytes, { stream: true }));
  if (isAtEnd) log.block.scrollTop = log.block.scrollHeight;
}

async function follow(live) {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    try {
      await Promise.all(followed.map(followLog));
      const run = await (await fetch(live.dataset.run, { cache: "no-store" })).json();
      if (run.changed !== live.dataset.changed) return location.reload(); // another state, or cells saved
      live.textContent = run.duration;
    } catch {
      // The mock is away; what is shown stays until it is back.
    }
  }
}

const live = document.querySelector("[data-run]");
if (live) follow(live);
