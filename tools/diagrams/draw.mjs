// Draws what the Python beside it describes: graphs by Graphviz, charts by ECharts; JSON in, JSON out.
import { createRequire } from "node:module";
import { text } from "node:stream/consumers";

const require = createRequire(new URL("../../requirements/npm/", import.meta.url));
const echarts = require("echarts");
const viz = await require("@viz-js/viz").instance();

// "4K", as CloudWatch writes it.
const short = new Intl.NumberFormat("en", { notation: "compact" });
const shortened = (axis) => ({ ...axis, axisLabel: { ...axis.axisLabel, formatter: (n) => short.format(n) } });

const drawers = {
  graph: ({ graph }) => viz.renderString(graph, { format: "svg" }),
  chart: ({ width, height, option }) => {
    const chart = echarts.init(null, null, { renderer: "svg", ssr: true, width, height });
    const axes = option.yAxis ? { yAxis: option.yAxis.map(shortened) } : {};
    chart.setOption({ ...option, ...axes, animation: false });
    const svg = chart.renderToSVGString();
    chart.dispose(); // otherwise its timer keeps the process running
    return svg;
  },
};

const wanted = JSON.parse(await text(process.stdin));
process.stdout.write(JSON.stringify(wanted.map((one) => drawers[one.kind](one))));
